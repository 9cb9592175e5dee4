"""`python -m sigprobe`."""

from sigprobe.cli import main

if __name__ == "__main__":
    main()
