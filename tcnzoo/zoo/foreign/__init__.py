"""Configuration files of other projects, and the specs that they ask for."""
