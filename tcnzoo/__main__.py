"""`python -m tcnzoo`: the command line without installing anything."""

from tcnzoo.cli import main

if __name__ == "__main__":
    main()
