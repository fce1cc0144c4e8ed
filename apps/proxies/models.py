"""What signs the tokens that kubectl shows."""

from django.db import models

from apps.tenants.models import TenantModel


class TokenSigner(TenantModel):
    """A key of an organisation that signs Kubernetes tokens (RS256). The newest signs; tokens of each are accepted."""

    kid = models.CharField(max_length=36, unique=True)
    public = models.BinaryField()  # PEM
    sealed_key = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)
