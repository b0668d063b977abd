"""The command line: the only place that prints and exits."""

from __future__ import annotations

import errno
import signal
import sys

import click

from optiml_bench.commands.audit import audit
from optiml_bench.commands.build import build
from optiml_bench.commands.compare import compare
from optiml_bench.commands.doctor import doctor
from optiml_bench.commands.eval import evaluate
from optiml_bench.commands.export import export
from optiml_bench.commands.fetch import fetch
from optiml_bench.commands.publish import publish
from optiml_bench.commands.publish_results import publish_results
from optiml_bench.commands.report import report
from optiml_bench.commands.score import score
from optiml_bench.commands.show import show
from optiml_bench.commands.tasks import tasks
from task_registry.errors import BenchError
from task_registry.version import VERSION

_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}
)
"""Errors of the operating system that are the machine's; any other is a fault of ours."""

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="optiml-bench")
def cli() -> None:
    """OPT-IML Bench: build the benchmark, evaluate a model on it, read and publish the result.

    \b
    optiml-bench fetch superni t5                          bring upstream's files
    optiml-bench build --out data/                         build a bench from the sources at hand
    optiml-bench eval --model facebook/opt-1.3b            evaluate a model on it
    optiml-bench report results/                           a page of the scores
    optiml-bench tasks 'superni/*' --level fully_held_out  list tasks of the catalogue
    """


for command in (
    build, audit, fetch, tasks, show, doctor, evaluate, score, report, compare, publish, publish_results, export,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line; every error of ours becomes one line and its class's exit code."""
    # Told to stop by a scheduler, a job clears up after itself as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # It is over; who asks again, impatiently, must not disturb the clearing up of libraries.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        click.echo("Interrupted; what is finished is kept, the same command goes on from there.", err=True)
        code = INTERRUPTED
    except BenchError as error:
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        click.echo(
            f"Error: {error.filename or 'output'}: {error.strerror}; mend that and run again", err=True
        )
        code = 6
    sys.exit(code or 0)
