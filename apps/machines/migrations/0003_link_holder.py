from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('machines', '0002_agents'),
    ]

    operations = [
        migrations.AddField(
            model_name='link',
            name='alive',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='link',
            name='handshake_at',
            field=models.DateTimeField(null=True),
        ),
    ]
