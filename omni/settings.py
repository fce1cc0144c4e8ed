"""Django's settings, all derived from `omni.config`."""

import secrets
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from omni.config import Config
from omni.limits import LARGEST_BODY

CONFIG = Config.from_env()
ROOT = Path(__file__).resolve().parent.parent

_secret = CONFIG.key_folder / "secret"
SECRET_KEY = _secret.read_text().strip() if _secret.exists() else secrets.token_urlsafe(48)
OMNI_KEK_FILE = str(CONFIG.kek)

DEBUG = False
ALLOWED_HOSTS = ["*"]  # machines and people come by any name; forms and websockets compare Origin with Host
ROOT_URLCONF = "omni.urls"
ASGI_APPLICATION = "omni.asgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "apps.tenants",
    "apps.accounts",
    "apps.access",
    "apps.audit",
    "apps.reconcile",
    "apps.images",
    "apps.machines",
    "apps.clusters",
    "apps.proxies",
    "apps.mesh",
    "apps.gateways",
    "apps.api",
    "apps.dashboard",
]

MIDDLEWARE = [
    "omni.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Database. The server connects as a role that row-level security binds; see apps/tenants/rls.py.

_dsn = conninfo_to_dict(CONFIG.app_dsn)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _dsn.get("dbname", "omni"),
        "USER": _dsn.get("user", "omni_app"),
        "PASSWORD": _dsn.get("password", ""),
        "HOST": _dsn.get("host", ""),
        "PORT": _dsn.get("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,  # when the database restarts, what lies in the pool is broken
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 20, "timeout": 5}},
    }
}

# People

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "apps.accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",  # by address and email; second factors by person
    "reauthenticate": "10/m/user",
    "change_password": "5/m/user",
    "sign_in_link": "20/m/ip",  # of links that are guessed
}

MFA_ADAPTER = "apps.accounts.adapter.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # no mail is sent; who holds an account is decided by its first link
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_FORMS = {
    "authenticate": "apps.accounts.factor_views.CodeForm",
    "reauthenticate": "apps.accounts.factor_views.ConfirmForm",
}
MFA_TOTP_TOLERANCE = 1  # clocks that are half a minute apart

# What rate limits count, and one-time codes that were used: seen by every web process

CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "accounts_cache"}}

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True  # browsers take these over plain HTTP from loopback only
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = LARGEST_BODY

# Django's own lines about requests hold whole paths, and some paths are secrets; the middleware writes ours instead

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {name: {"level": "CRITICAL"} for name in ("django.request", "django.security.csrf")},
}

# Static files: found in place, built assets are committed

STATIC_URL = "/static/"
STATICFILES_DIRS = [ROOT / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# Live updates: NOTIFY carries changes between processes (apps/reconcile/changes.py), so layers stay inside one

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1000}}}

# REST

REST_FRAMEWORK = {
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "apps.api.problems.handle",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.api.parsers.StorableJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "apps.api.schema.Schema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "omni",
    "DESCRIPTION": "The REST interface of an open control plane for Talos Linux clusters.",
    "VERSION": "v1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["apps.api.schema.add_problems", "apps.api.schema.add_watches"],
}
