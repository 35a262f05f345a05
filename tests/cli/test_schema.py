from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from harness.cli import main


@pytest.mark.parametrize("what", ["suite", "report", "comparison", "check"])
def test_the_schema_is_printed_as_json_schema_2020_12(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["schema", what])
    assert ended.value.code == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_anything_else_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["schema", "trial"])
    assert ended.value.code == 2
    assert "suite" in capsys.readouterr().err
