"""REST resources, one file each; every module has a `router`."""
