import logging
import os
import warnings
from pathlib import Path

import pytest
from finn.util import settings
from finn.util.basic import make_build_dir

from fpga_facedet.compiler.finn_session import finn_session


def test_gives_finn_a_scratch_folder_that_disappears(tmp_path: Path) -> None:
    with finn_session(rtllib=tmp_path) as folder:
        made = Path(make_build_dir("work_"))
        assert made.parent == folder and made.is_dir()
        assert settings.get_settings().finn_rtllib == str(tmp_path)
    assert not folder.exists()


def test_nests_and_puts_everything_back() -> None:
    before, environment = settings._SETTINGS, dict(os.environ)
    with finn_session() as outer:
        with finn_session() as inner:
            assert inner != outer
        assert settings.get_settings().finn_build_dir == outer
    assert settings._SETTINGS is before and dict(os.environ) == environment


def test_puts_everything_back_after_an_error() -> None:
    before, level = settings._SETTINGS, logging.getLogger("finn_logger").level
    with pytest.raises(KeyError), finn_session():
        raise KeyError
    assert settings._SETTINGS is before and logging.getLogger("finn_logger").level == level


def test_keeps_warnings_and_log_lines_from_the_user(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    with finn_session():
        warnings.warn("for developers of FINN", stacklevel=1)
        logging.getLogger("finn_logger").warning("for developers of FINN")
    assert capfd.readouterr() == ("", "") and not recwarn.list
