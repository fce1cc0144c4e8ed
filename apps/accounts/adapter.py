"""What we tell allauth about accounts."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up by themselves: the first owner comes by a one-time link, others are invited."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
