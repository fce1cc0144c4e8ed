from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('machines', '0004_agent_targets'),
    ]

    operations = [
        migrations.AddField(
            model_name='machineobservation',
            name='engine',
            field=models.CharField(default='', max_length=20),
        ),
        migrations.AddField(
            model_name='machineobservation',
            name='rx_rate',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='machineobservation',
            name='tx_rate',
            field=models.BigIntegerField(default=0),
        ),
    ]
