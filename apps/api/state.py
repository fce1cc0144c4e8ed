"""The state of an object as REST shows it."""

from typing import Any

from rest_framework import serializers


class StateSerializer(serializers.Serializer[Any]):
    """`apps.reconcile.conditions.Shown`."""

    shape = serializers.CharField(help_text="ok, work, wait, ask, warn, bad, off, idle or unknown")
    word = serializers.CharField()
    sentence = serializers.CharField()
