"""Names, files and foreign configurations to specs; the presets that come with the package."""
