"""`omni openapi`: the description of the REST interface that is committed with the code."""

from pathlib import Path

import click

from omni.config import Config

FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "openapi.yaml"


@click.command(hidden=True)
@click.option("--check", is_flag=True, help="Write nothing; fail if the committed file is not what the code says.")
def openapi(check: bool) -> None:
    """Write docs/openapi.yaml from the code."""
    from omni.programs import prepare

    prepare(Config.from_env(), "openapi")
    text = describe()
    if not check:
        FILE.write_text(text)
        click.echo(f"wrote {FILE}")
    elif not FILE.exists() or FILE.read_text() != text:
        raise click.ClickException("docs/openapi.yaml is not current; run: make openapi")


def describe() -> str:
    """The description as YAML."""
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.renderers import OpenApiYamlRenderer

    with GENERATOR_STATS.silence():
        schema = SchemaGenerator().get_schema(request=None, public=True)
    return str(OpenApiYamlRenderer().render(schema, renderer_context={}).decode())
