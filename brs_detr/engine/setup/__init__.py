"""From a config file, options and a folder of data to the config that runs."""
