"""The archive in which a machine hands out a kubeconfig."""

import io
import tarfile


def first_member(archive: bytes) -> bytes:
    """The content of the first file of a gzip-compressed tar. Raises ValueError.

    Talos writes neither padding nor end blocks, so the archive is never listed to its end.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r|gz") as tar:
            member = tar.next()
            content = tar.extractfile(member) if member else None
            if content is None:
                raise ValueError("the archive holds no file")
            return content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"the archive cannot be read: {error}") from error
