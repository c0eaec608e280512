"""Made-up features for real labels, to compare systems where the sound is not at hand.

`calibrated` has the statistics of real MS-CLAP features (`clotho_long.features.statistics` measures them);
`white` is the first simulation, kept so that tables that were made with it can be made again.
"""
