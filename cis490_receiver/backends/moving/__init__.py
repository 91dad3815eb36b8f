"""The two places that everything can be moved between: a data folder and a cluster."""
