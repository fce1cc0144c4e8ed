"""Forms of the pages before an organisation is known."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from apps.accounts.models import User


class FirstRunForm(forms.Form):
    """The first account and organisation of an installation."""

    organisation = forms.CharField(label="Organisation", max_length=120, initial="Default")
    slug = forms.SlugField(
        label="Short name", max_length=40, initial="default", help_text="Part of addresses; cannot be changed later."
    )
    name = forms.CharField(label="Your name", max_length=120)
    email = forms.EmailField(label="Email")
    password = forms.CharField(
        label="Password",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="12 or more characters.",
    )

    def clean(self) -> dict[str, Any]:
        """Judge the password knowing whose it will be."""
        given = super().clean() or {}
        if password := given.get("password"):
            try:
                validate_password(password, User(email=given.get("email", ""), name=given.get("name", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return given
