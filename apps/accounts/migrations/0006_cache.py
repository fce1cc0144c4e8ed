"""The table of Django's database cache: what rate limits count, for every web process."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_people_signing_in")]

    operations = [
        migrations.RunSQL(
            """
            CREATE TABLE accounts_cache (
                cache_key varchar(255) NOT NULL PRIMARY KEY,
                value text NOT NULL,
                expires timestamp with time zone NOT NULL
            );
            CREATE INDEX accounts_cache_expires ON accounts_cache (expires);
            """,
            "DROP TABLE accounts_cache;",
        )
    ]
