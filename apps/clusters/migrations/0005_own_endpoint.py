from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("clusters", "0004_drop_unused_status"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="endpoint_address",
            field=models.CharField(default="", max_length=300),
        ),
        migrations.AddField(
            model_name="cluster",
            name="virtual_ip",
            field=models.CharField(default="", max_length=45),
        ),
    ]
