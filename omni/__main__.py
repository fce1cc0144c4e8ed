from omni.cli import main

main(prog_name="omni")
