"""Commands for whoever can read the data folder: the way in without a password. The server must be running."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import click

from omni.cli.options import installation
from omni.config import Config

if TYPE_CHECKING:
    from apps.accounts.models import User


@click.group()
def admin() -> None:
    """Get in without a password or second factor: tokens, sign-in links.

    For whoever can read the data folder of a server that runs.
    """


@admin.command()
@installation("data", "database_url")
@click.option("--name", default="omni admin token", show_default=True, help="What the token is called in lists.")
@click.option("--organisation", default="", metavar="SLUG", help="Whose owner's token; needed when there are several.")
def token(config: Config, name: str, organisation: str) -> None:
    """Print an owner's API token for scripts.

    On an installation without an organisation this makes the organisation `default` and its owner first.

    \b
    export OMNI_TOKEN=$(omni admin token --data ./data)
    curl --cacert ./data/ca.crt -H "Authorization: Bearer $OMNI_TOKEN" https://127.0.0.1:8443/api/v1/organisations
    """
    click.echo(new_owner_token(config, name, organisation))


@admin.command("signin-link")
@installation("data", "database_url", "listen", "url", "advertise")
@click.option("--email", default="", help="Whom it signs in; without it an owner.")
@click.option("--organisation", default="", metavar="SLUG", help="Whose owner; needed when there are several.")
def signin_link(config: Config, email: str, organisation: str) -> None:
    """Print a link that signs somebody in once, within an hour.

    While nobody owns the installation it is the link to make the first account.
    """
    click.echo(new_signin_link(config, email, organisation))


@admin.command("create-organisation")
@installation("data", "database_url", "listen", "url", "advertise")
@click.argument("slug")
@click.option("--name", default="", help="What it is called on pages [the slug].")
@click.option(
    "--owner", required=True, metavar="EMAIL", help="Its first owner; an account is made where there is none."
)
def create_organisation(config: Config, slug: str, name: str, owner: str) -> None:
    """Make another organisation: machines, clusters and people of their own, apart from all others.

    Prints a link that signs its owner in once.
    """
    with _database(config):
        from django.core.exceptions import ValidationError
        from django.core.validators import validate_email
        from django.db import transaction

        from apps.accounts import actions
        from apps.accounts.models import User

        try:
            validate_email(owner)
            with transaction.atomic():
                person = User.objects.filter(email=owner.lower()).first() or User.objects.create_user(owner)
                actions.create_organisation(name or slug, slug, person, made_by="omni admin")
        except ValidationError as error:
            raise click.ClickException(" ".join(error.messages)) from None
    click.echo(new_signin_link(config, owner))


@admin.command("reset-second-factor")
@installation("data", "database_url")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset_second_factor(config: Config, email: str, yes: bool) -> None:
    """Take somebody's passkeys, authenticator app and recovery codes away, who lost them all.

    Be sure that it is they who ask. Their password, or a link of `omni admin signin-link`, signs them in then. It is
    in the audit of each of their organisations.
    """
    if not yes:
        click.confirm(f"Take every second factor of {email} away?", abort=True)
    with _database(config):
        from apps.accounts import factors
        from apps.accounts.models import User

        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise click.ClickException(f"there is no account {email}")
        gone = factors.reset_second_factor(user, "omni admin")
    click.echo(f"{user.email} has no second factor now." if gone else f"{user.email} had no second factor.")


@admin.command(hidden=True)
@installation("data", "database_url", "listen", "url", "advertise")
def welcome(config: Config) -> None:
    """Print what `make run` prints: how to sign in, and how machines join; makes what is missing for it."""
    with _database(config):
        from apps.access.actor import system
        from apps.accounts.identity import places
        from apps.machines.actions import create_join_token, reveal_join_token
        from apps.machines.joinpage import join_arguments
        from apps.machines.models import JoinToken
        from apps.tenants.scope import tenant_scope

        organisation_id, owner = _owner("")
        slug = next(place.slug for place in places(owner) if place.organisation_id == organisation_id)
        actor = system(organisation_id, "omni admin")
        with tenant_scope(organisation_id):
            row = JoinToken.objects.filter(is_default=True).first()
            token = reveal_join_token(actor, row) if row else create_join_token(actor, "default").token
        arguments = join_arguments(token).kernel_arguments
    click.echo(f"sign in (once, within an hour)   {new_signin_link(config, owner.email)}")
    click.echo(f"how machines join                {config.public_url}/o/{slug}/join")
    click.echo(f"kernel arguments for Talos       {arguments}")


def new_signin_link(config: Config, email: str = "", organisation: str = "") -> str:
    """A link that signs somebody in once: `email`, or an owner. Raises ClickException."""
    with _database(config):
        from apps.accounts.first_run import first_run_path
        from apps.accounts.links import make_sign_in_link
        from apps.accounts.models import User
        from apps.tenants import lookups

        if not lookups.organisations():
            path = first_run_path((config.key_folder / "secret").read_text().strip())
        elif email:
            user = User.objects.filter(email=email.lower(), is_active=True).first()
            if user is None:
                raise click.ClickException(f"there is no account {email}")
            path = make_sign_in_link(user)
        else:
            path = make_sign_in_link(_owner(organisation)[1])
    return f"{config.public_url}{path}"


def new_owner_token(config: Config, name: str, organisation: str = "") -> str:
    """An API token of an owner, made with organisation and owner on an empty installation. Raises ClickException."""
    with _database(config):
        from apps.access.actor import system
        from apps.accounts.actions import create_api_token
        from apps.tenants.scope import tenant_scope

        organisation_id, owner = _owner(organisation)
        with tenant_scope(organisation_id):
            return create_api_token(system(organisation_id, "omni admin"), owner, name, "owner").secret


def _owner(slug: str) -> "tuple[UUID, User]":
    """An owner of the organisation, made with it on an empty installation."""
    from apps.accounts.actions import first_owner_of, make_first_owner
    from apps.accounts.identity import organisation_by_slug
    from apps.tenants import lookups

    found = lookups.organisations()
    if not found:
        make_first_owner("owner@localhost", "Owner", None, "default", "Default")
        found = lookups.organisations()
    if slug:
        chosen = organisation_by_slug(slug)
        if chosen is None:
            raise click.ClickException(f"there is no organisation {slug!r}")
    elif len(found) > 1:
        raise click.ClickException("there are several organisations; say which with --organisation SLUG")
    else:
        chosen = found[0]
    return chosen, first_owner_of(chosen)


@contextmanager
def _database(config: Config) -> Iterator[None]:
    """Django with its database. Raises ClickException when it does not answer."""
    from omni.programs import prepare

    prepare(config, "admin")
    from django.db import OperationalError, ProgrammingError, connections

    connections.settings["default"]["OPTIONS"] = {}  # no pool: it would wait for a server that is not there
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        if config.database_url:
            raise click.ClickException(f"the database does not answer: {error}") from error
        raise click.ClickException(
            f"the database of {config.data} does not answer; start it first: omni serve --data {config.data}"
        ) from error
