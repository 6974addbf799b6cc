"""The text of exceptions and problems is what users read."""

from gfwd.errors import ConfigError, GfwdError, Problem, UsageError


def test_problem_names_its_place() -> None:
    assert str(Problem("a.rules", 3, 7, "no such port")) == "a.rules:3:7: error: no such port"
    assert str(Problem("a.rules", 3, 7, "odd", "warning")) == "a.rules:3:7: warning: odd"


def test_problem_of_a_whole_file_has_no_line() -> None:
    assert str(Problem("a.rules", 0, 0, "cannot be read")) == "a.rules: error: cannot be read"


def test_config_error_shows_all_problems() -> None:
    first, second = Problem("a", 1, 1, "this"), Problem("a", 2, 1, "that")
    error = ConfigError([first, second])
    assert error.problems == (first, second)
    assert str(error) == "a:1:1: error: this\na:2:1: error: that"


def test_exit_statuses() -> None:
    assert (GfwdError("x").exit_status, UsageError("x").exit_status, ConfigError([]).exit_status) == (1, 2, 2)
    assert issubclass(UsageError, GfwdError) and issubclass(ConfigError, GfwdError)
