"""Answers as files of other programs: one module a format, each a pure function from answers to text.

`naming` and `labels` hold the rules that all formats keep, `writing` writes what was asked for.
"""
