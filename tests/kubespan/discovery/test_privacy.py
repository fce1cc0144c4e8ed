"""Who may read what is kept: ids of clusters are all that it takes to delete what their nodes have published."""

from pathlib import Path

from kubespan.discovery.core import Discovery
from kubespan.discovery.store import Store
from talos.gen.sidero import discovery_pb2 as pb


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.binpb", 600)
    core = Discovery(store)
    await core.start()
    await core.write(pb.AffiliateUpdateRequest(cluster_id="cluster", affiliate_id="node", affiliate_data=b"data"))
    journals = list(tmp_path.glob("*.journal.*"))
    assert {path.stat().st_mode & 0o777 for path in journals} == {0o600}
    await core.close()
    assert (tmp_path / "state.binpb").stat().st_mode & 0o777 == 0o600
