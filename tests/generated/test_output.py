"""What a command prints is its own: TensorFlow's start-up chatter is kept off the screen."""

from conftest import Run


def test_no_command_shows_chatter(run: Run):
    said = [
        run("train.py", "--epochs", 1),
        run("evaluate.py"),
        run("-m", "my_experiment", "list"),
    ]

    for process in said:
        assert "oneDNN" not in process.stderr
        assert "absl" not in process.stderr


def test_help_does_not_wait_for_tensorflow(run: Run):
    said = run("-X", "importtime", "-m", "my_experiment", "--help")

    assert "torture" in said.stdout
    assert "my_experiment.durable" in said.stderr
    assert "| tensorflow" not in said.stderr
