
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Gateway',
            fields=[
                ('name', models.CharField(max_length=63, primary_key=True, serialize=False)),
                ('address', models.CharField(default='', max_length=128)),
                ('session', models.BigIntegerField()),
                ('seen_at', models.DateTimeField()),
            ],
        ),
    ]
