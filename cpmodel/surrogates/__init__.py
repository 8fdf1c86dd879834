"""Precision and complexity models, their selection and their intervals.

`base` holds the interface of the precision models and `load_model`; one file for each model.
"""
