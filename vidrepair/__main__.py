"""`python -m vidrepair` is the command line."""

from vidrepair.cli import main

if __name__ == "__main__":
    main()
