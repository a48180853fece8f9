"""The `facings` command. Verbs are imported only when they run, so that `facings --help` is quick."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from configs import telemetry
from configs.errors import FacingsError
from configs.settings import load_settings

# verb: (module, one line of help). The module holds a click command of the verb's name (- as _).
VERBS = {
    "demo": ("cli.demo", "Do the main job on real data, then serve."),
    "doctor": ("cli.doctor", "Check versions, ports, stores and telemetry; say how to mend each fault."),
    "ingest": ("cli.ingest", "Validate and load a folder of tables, or a database's."),
    "quarantine": ("cli.quarantine", "List, explain and re-admit rows that did not hold."),
    "simulate": ("cli.simulate", "Write a simulated town as a folder of tables."),
    "backfill": ("cli.backfill", "Compute the features of past moments from all that is known now."),
    "take-back": ("cli.take_back", "Take out again what files brought since the last accepted run."),
    "retrain": ("cli.retrain", "Ingest, materialise, train, evaluate, gate and publish, as the scheduled job does."),
    "rescore": ("cli.rescore", "Tell what showing is worth by what is known now, without training."),
    "recommend": ("cli.recommend", "Write batch top-k lists."),
    "compare": ("cli.compare", "Train recipes on the same split and write one page about them."),
    "tune": ("cli.tune", "Search the ranges that a recipe names, on past windows."),
    "loop": ("cli.loop", "Run the closed loop on a simulated town, beside an oracle and simpler policies."),
    "runs": ("cli.runs", "List what was tracked."),
    "benchmark": ("cli.benchmark", "Reproduce a published table under its own protocol."),
    "promote": ("cli.promote", "Make a registered version the champion."),
    "rollback": ("cli.rollback", "Put the champion before this one back."),
    "guard": ("cli.guard", "Take back what does worse live than what served before."),
    "plan": ("cli.plan", "Allocate offers to shoppers under budgets, stock and caps."),
    "history": ("cli.history", "Show what served when."),
    "serve": ("cli.serve", "Serve offers, screens and events over HTTP."),
    "explain": ("cli.explain", "Tell of one recommendation what was shown, why, and what it led to."),
    "attribution": ("cli.attribution", "Join what was shown to what it led to."),
    "evaluate-policy": ("cli.evaluate_policy", "Judge a policy from a log of decisions that another one made."),
    "experiments": ("cli.experiments", "Judge experiments on the policy, and stop what does harm."),
    "token": ("cli.token", "Make and revoke tokens for devices and services."),
    "enrol": ("cli.enrol", "Enrol a shopper's face, with consent."),
    "identify": ("cli.identify", "Say who, if anybody enrolled, is on a photograph."),
    "forget": ("cli.forget", "Erase a shopper everywhere, with a receipt."),
    "camera": ("cli.camera", "The agent beside a screen: frames in, sightings out."),
    "deploy": ("cli.deploy", "Register the scheduled deployments with a Prefect server."),
}


class Verbs(click.Group):
    """A group that imports a verb's module only when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the journey."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command."""
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(VERBS[cmd_name][0]), cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing one."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: facings ingest my-shop/ && facings retrain && facings serve",
)
@click.version_option(package_name="facings")
@click.pass_context
def facings(context: click.Context) -> None:
    """Facings decides what a shop turns to each shopper: the offers on its screens, the goods on its shelves.

    State lives in the folder FACINGS_HOME (default ./var). Exit codes: 0 done, 1 could not, 2 wrong usage.
    """
    telemetry.turn_off()
    context.obj = load_settings()


def main() -> None:
    """Run the command; every failure is a sentence on standard error and an exit code, never a traceback."""
    try:
        code = facings.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("facings: stopped", err=True)
        sys.exit(130)
    except FacingsError as error:
        click.echo(f"facings: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if os.environ.get("FACINGS_DEBUG"):
            raise
        text = " ".join(str(error).split())[:600]
        click.echo(f"facings: unexpected {type(error).__name__}: {text} (FACINGS_DEBUG=1 shows where)", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
