"""API tokens as REST shows them."""

from dataclasses import asdict

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from apps.accounts import states
from apps.accounts.models import ApiToken
from apps.api.state import StateSerializer


class ApiTokenSerializer(serializers.ModelSerializer[ApiToken]):
    user = serializers.EmailField(source="user.email", read_only=True, default=None)
    service_account = serializers.CharField(source="service_account.name", read_only=True, default=None)
    state = serializers.SerializerMethodField()

    class Meta:
        model = ApiToken
        fields = [
            "id", "name", "user", "service_account", "role", "state", "created_at", "expires_at", "last_used_at",
            "revoked_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at", "last_used_at", "revoked_at"]

    @extend_schema(responses=StateSerializer)
    def get_state(self, token: ApiToken) -> dict[str, str]:
        return asdict(states.api_token_state(token, timezone.now()))


class NewApiTokenSerializer(ApiTokenSerializer):
    secret = serializers.CharField(read_only=True, help_text="The token itself; shown once.")

    class Meta(ApiTokenSerializer.Meta):
        fields = [*ApiTokenSerializer.Meta.fields, "secret"]
