"""What a node knows of the others of its cluster, and how messages of a watch change it. Pure."""

import logging
from dataclasses import dataclass

from kubespan.affiliates import Affiliate, Endpoint, Unreadable
from kubespan.crypto import ClusterKey
from talos.gen.sidero import discovery_pb2 as pb

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Discovered:
    """Another node: what it says of itself, and where it may be reached, in the service's order."""

    affiliate: Affiliate
    endpoints: tuple[Endpoint, ...]


class Known:
    """The other affiliates of a cluster, by the id under which the service has them.

    A record that cannot be read changes nothing: what was known of that node stays, as long as the service has it. The
    log says so once.
    """

    def __init__(self, key: ClusterKey, own_id: str) -> None:
        self._key, self._own_id = key, own_id
        self._complained: set[str] = set()
        self.affiliates: dict[str, Discovered] = {}

    def apply(self, response: pb.WatchResponse, *, first: bool) -> bool:
        """Take over a message of a watch; the `first` one of a stream is all there is. Whether something changed."""
        changed = False
        if response.deleted:
            for record in response.affiliates:
                changed |= self._forget(record.id)
            return changed
        if first:
            for gone in self.affiliates.keys() - {record.id for record in response.affiliates if record.data}:
                changed |= self._forget(gone)
        for record in response.affiliates:
            if record.id == self._own_id or not record.data:  # nothing but endpoints that others saw
                continue
            read = self._read(record)
            if read is not None and read != self.affiliates.get(record.id):
                self.affiliates[record.id] = read
                changed = True
        return changed

    def _forget(self, id: str) -> bool:
        self._complained.discard(id)
        return self.affiliates.pop(id, None) is not None

    def _read(self, record: pb.Affiliate) -> Discovered | None:
        try:
            affiliate = self._key.open(record.data)
        except Unreadable as error:
            self._complain(record.id, error)
            return None
        endpoints = []
        for data in record.endpoints:
            try:
                endpoints.append(self._key.open_endpoint(data))
            except Unreadable as error:
                self._complain(record.id, error)
        if len(endpoints) == len(record.endpoints):
            self._complained.discard(record.id)
        return Discovered(affiliate, tuple(endpoints))

    def _complain(self, id: str, error: Unreadable) -> None:
        if id not in self._complained:
            self._complained.add(id)
            log.warning("affiliate %.60r: left out: %s", id, error)
