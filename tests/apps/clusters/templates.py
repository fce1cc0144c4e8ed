"""Templates for tests."""

from collections.abc import Sequence

from tests.apps.clusters.world import uuid_of


def template(
    control_planes: Sequence[int],
    workers: Sequence[int] = (),
    *,
    name: str = "lab",
    talos: str = "1.13.8",
    kubernetes: str = "1.36.3",
    patch: str = "",
    workers_text: str = "",
) -> str:
    """A template of these machines; `patch` is one of the whole cluster, `workers_text` more of the workers."""
    patches = f"patches:\n  - name: sysctls\n    inline: {patch}\n" if patch else ""
    text = (
        f"kind: Cluster\nname: {name}\nkubernetes: {{version: v{kubernetes}}}\ntalos: {{version: v{talos}}}\n{patches}"
        f"---\nkind: ControlPlane\nmachines: {[uuid_of(number) for number in control_planes]}\n"
    )
    if workers or workers_text:
        machines = f"machines: {[uuid_of(number) for number in workers]}\n" if workers else ""
        text += f"---\nkind: Workers\n{machines}{workers_text}\n"
    return text


def three_and_two(**fields: str) -> str:
    return template([1, 2, 3], [4, 5], **fields)  # type: ignore[arg-type]
