"""People, their place in organisations, and tokens for programs."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils import timezone

from apps.tenants.ids import uuid7
from apps.tenants.models import ScopedManager, TenantModel, TenantQuerySet

ROLE_CHOICES = [("owner", "Owner"), ("admin", "Admin"), ("operator", "Operator"), ("reader", "Reader")]


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a person. Without a password the account can sign in only by a one-time link."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. Belongs to no organisation by itself; memberships say where it may act."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email


class AcceptedManager(ScopedManager):
    """The members of the organisation in scope: whoever did not take their invitation up is none."""

    def get_queryset(self) -> TenantQuerySet:
        return super().get_queryset().exclude(accepted_at=None)


class Membership(TenantModel):
    """A person's role in one organisation, from when they opened the organisation's link: an invitation until then."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)
    created_at = models.DateTimeField(auto_now_add=True)
    accepted_at = models.DateTimeField(null=True, default=timezone.now)  # null: invited

    objects: ClassVar[AcceptedManager] = AcceptedManager()
    everybody: ClassVar[ScopedManager] = ScopedManager()  # the invited too

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "user"], name="membership_once")]


class ServiceAccount(TenantModel):
    """A program that acts by itself in one organisation, with as many credentials as it needs.

    (desired; writer: actions)
    """

    name = models.CharField(max_length=63)
    description = models.CharField(max_length=200, default="")
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)
    created_by = models.CharField(max_length=254, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="service_account_name_once")]


class ApiToken(TenantModel):
    """A credential for programs. Only the SHA-256 of the token is kept; it is shown once, at creation.

    It speaks for a person or for a service account.
    """

    name = models.CharField(max_length=80)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", null=True)
    service_account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, related_name="+", null=True)
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)  # never above its holder's own role when used
    token_hash = models.BinaryField(max_length=32, unique=True)
    session_key = models.CharField(max_length=40, default="")  # of the browser that let `omni login` in, and ends it
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user=None) ^ models.Q(service_account=None), name="api_token_one_holder"
            )
        ]


class AccessKey(TenantModel):
    """What proves somebody to talosctl's and kubectl's ways in: revocable one by one, listed, never above `role`.

    `pgp` and `plain` sign each call, `certificate` is shown in the TLS handshake, `kubernetes` is a token for one
    cluster.
    """

    PGP, PLAIN, CERTIFICATE, KUBERNETES = "pgp", "plain", "certificate", "kubernetes"

    kind = models.CharField(max_length=12)
    fingerprint = models.CharField(
        max_length=64, unique=True
    )  # as clients name it; hex of the id for the last two kinds
    public = models.BinaryField(default=b"")  # of what signs: armored PGP, or PEM
    name = models.CharField(max_length=120)  # what it is for: `talosctl`, `kubectl`, a name somebody gave
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", null=True)
    service_account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, related_name="+", null=True)
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)  # a ceiling
    cluster_id = models.UUIDField(null=True)  # of a token for one cluster
    session_key = models.CharField(max_length=40, default="")  # of the browser session that granted it, and ends it
    api_token = models.ForeignKey(  # that asked for it, and ends it
        ApiToken, on_delete=models.CASCADE, related_name="+", null=True
    )
    source = models.CharField(max_length=64, default="")  # address that asked for it
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user=None) ^ models.Q(service_account=None), name="access_key_one_holder"
            )
        ]


class Authority(TenantModel):
    """An organisation's own certificate authority for people's and programs' client certificates."""

    certificate = models.BinaryField()  # PEM
    sealed_key = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation"], name="authority_once")]


class GrantRequest(models.Model):
    """Something that asks for access and waits until a person grants it in a browser, for one of their organisations.

    `key`: talosctl's public key; `login`: `omni login`; `kubernetes`: kubectl by OIDC. Short-lived, in no organisation.
    """

    KEY, LOGIN, KUBERNETES = "key", "login", "kubernetes"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=12)
    fingerprint = models.CharField(max_length=64, default="", db_index=True)  # of the key that is to be confirmed
    secret_hash = models.BinaryField(max_length=32, null=True, unique=True)  # what its asker fetches the outcome with
    details = models.JSONField(default=dict)  # what it asks for; no secrets
    source = models.CharField(max_length=64, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", null=True)  # who decided
    organisation_id = models.UUIDField(null=True)  # for which
    granted = models.BooleanField(null=True)
    session_key = models.CharField(max_length=40, default="")  # of the browser that granted it
    used_at = models.DateTimeField(null=True)  # the outcome was fetched, once
    outcome = models.JSONField(default=dict)  # what its asker is given, e.g. the id of an access key


class SignInLink(models.Model):
    """A one-time link: the first owner's way into an installation without a password, or an invitation.

    An invitation lets its person into the organisation of the membership, and signs them in only while nobody has
    used their account.
    """

    token_hash = models.BinaryField(primary_key=True, max_length=32)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    organisation_id = models.UUIDField(null=True)  # of an invitation
    membership_id = models.UUIDField(null=True)


class BrowserSession(models.Model):
    """Where a person is signed in, beside Django's session of the same key: a row without one is of the past."""

    session_key = models.CharField(primary_key=True, max_length=40)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    source = models.CharField(max_length=64)  # address it signed in from
    browser = models.CharField(max_length=60)
    signed_in_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True)
