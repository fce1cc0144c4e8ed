from django.db import migrations


class Migration(migrations.Migration):
    """Keep the long values of an observation out of its row: lists are sorted and filtered by the short ones, and what
    changes most is short too.
    """

    dependencies = [
        ("machines", "0005_link_engine"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE machines_machineobservation SET (toast_tuple_target = 256)",
            "ALTER TABLE machines_machineobservation RESET (toast_tuple_target)",
        ),
    ]
