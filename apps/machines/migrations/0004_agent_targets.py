import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('machines', '0003_link_holder'),
    ]

    operations = [
        migrations.AddField(
            model_name='link',
            name='fingerprint',
            field=models.CharField(default='', max_length=64),
        ),
        migrations.AddField(
            model_name='agent',
            name='removed_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.RemoveConstraint(
            model_name='agent',
            name='agent_name_once',
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(condition=models.Q(('removed_at', None)), fields=('organisation', 'name'), name='agent_name_once'),
        ),
        migrations.AddField(
            model_name='agentobservation',
            name='nodes',
            field=models.JSONField(default=list),
        ),
        migrations.AlterField(
            model_name='agenttarget',
            name='machine',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='targets', to='machines.machine'),
        ),
    ]
