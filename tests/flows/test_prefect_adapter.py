"""What is taken from inside Prefect is still there."""

import inspect
import subprocess
from pathlib import Path

from rubricator.flows import prefect_adapter


def test_what_is_taken_from_inside_prefect_is_still_there() -> None:
    """Where this fails, read `flows/prefect_adapter.py` beside the new version, and add it to TESTED_VERSIONS."""
    import prefect.settings
    from prefect import runner
    from prefect.context import FlowRunContext
    from prefect.server.api import server
    from prefect.server.api.server import SubprocessASGIServer

    what = (
        f"seen with Prefect {', '.join(prefect_adapter.TESTED_VERSIONS)}; this is {prefect_adapter.version()}"
    )
    assert "start" in vars(SubprocessASGIServer), what
    assert vars(server)["subprocess"].Popen is subprocess.Popen, f"start_embedded_server replaces it: {what}"
    assert hasattr(FlowRunContext, "get"), what
    for name in ("handle_sigterm", "execute_in_background", "astop", "cancel_all"):
        assert hasattr(runner.Runner, name), f"{name}: {what}"
    starter = runner.runner.EngineCommandStarter
    assert "isolate_process_group" in inspect.signature(starter).parameters, what
    assert prefect_adapter.next_due("0 0 31 2 *") is None, f"of a cron expression that is never due: {what}"
    for name in (
        "PREFECT_API_URL",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
        "PREFECT_HOME",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
    ):
        assert hasattr(prefect.settings, name), f"{name}: {what}"
    assert hasattr(prefect.settings.get_current_settings().server.database, "connection_url"), what


def test_no_other_file_reaches_into_prefect() -> None:

    flows = Path(prefect_adapter.__file__).parent
    private = ("prefect.server", "prefect.context", "prefect.settings", "prefect.client.orchestration")
    found = [
        file.name
        for file in flows.rglob("*.py")
        if file.name != "prefect_adapter.py" and any(name in file.read_text() for name in private)
    ]
    assert found == []


def test_outside_of_a_flow_is_no_flow() -> None:
    assert not prefect_adapter.in_flow()
