"""The folder that is handed over: a verified network as files that others run."""
