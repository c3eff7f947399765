"""The panels of a workspace that has been published, and what they read."""

import pytest

# They are of wandb-workspaces.
without_pydantic_warnings = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


def workspace_panels(workspace):
    return [panel for part in workspace["spec"]["section"]["panelBankConfig"]["sections"] for panel in part["panels"]]


def keys_read(panel):
    """Where a panel finds what it draws: (section, key) pairs. A kind that is not known fails."""
    kind, config = panel["viewType"], panel["config"]
    if kind == "Scatter Plot":
        return [tuple(config[axis].split(":", 1)) for axis in ("xAxis", "yAxis")]
    if kind == "Run History Line Plot":
        return [("history", config["xAxis"]), *(("history", key) for key in config["metrics"])]
    if kind == "Bar Chart":
        return [("summary", key) for key in config["metrics"]]
    if kind == "Vega2":
        (query,) = config["userQuery"]["queryFields"]
        (table,) = [field for field in query["fields"] if field["name"] == "summaryTable"]
        (argument,) = table["args"]
        return [("table", argument["value"]), *(("column", column) for column in config["fieldSettings"].values())]
    if kind == "Weave":
        return [("table", config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"])]
    assert kind == "Run Comparer"
    return []
