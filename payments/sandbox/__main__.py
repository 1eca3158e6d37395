"""`python -m payments.sandbox`: the gateway without Django, for tests and for other people's clients."""

import sys

from payments.sandbox.server import main

sys.exit(main())
