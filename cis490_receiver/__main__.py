"""``python -m cis490_receiver`` is ``cis490-receiver``."""

from cis490_receiver.commands import main

if __name__ == "__main__":
    main(prog_name="cis490-receiver")
