"""Write the page about HTTP into the file that is named."""

import sys
import tempfile
from pathlib import Path

from cis490_receiver import create_app
from cis490_receiver.config import Settings
from cis490_receiver.views.openapi.document import make_document
from cis490_receiver.views.openapi.markdown import markdown

with tempfile.TemporaryDirectory() as folder:
    app = create_app(Settings(data_dir=Path(folder)))
    Path(sys.argv[1]).write_text(markdown(make_document(app)), encoding="utf-8")
