"""People, their place in organisations, and tokens for programs."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

from apps.tenants.ids import uuid7
from apps.tenants.models import TenantModel

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


class Membership(TenantModel):
    """A person's role in one organisation."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "user"], name="membership_once")]


class ApiToken(TenantModel):
    """A credential for programs. Only the SHA-256 of the token is kept; it is shown once, at creation."""

    name = models.CharField(max_length=80)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")  # on whose behalf it acts
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)  # never above the person's own role when used
    token_hash = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)


class SignInLink(models.Model):
    """A one-time link that signs a person in: the first owner's way into an installation without a password."""

    token_hash = models.BinaryField(primary_key=True, max_length=32)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)


class BrowserSession(models.Model):
    """Where a person is signed in, beside Django's session of the same key: a row without one is of the past."""

    session_key = models.CharField(primary_key=True, max_length=40)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    source = models.CharField(max_length=64)  # address it signed in from
    browser = models.CharField(max_length=60)
    signed_in_at = models.DateTimeField()
