"""The data sets that a corpus is made of: Clotho events and Walking Tours backgrounds."""
