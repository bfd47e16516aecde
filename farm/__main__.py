"""``python -m farm`` is the ``reelfarm`` command."""

from farm.cli import main

if __name__ == "__main__":
    main()
