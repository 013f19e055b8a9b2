"""What each word of the console command does. A command imports its driver when it is called, so that help stays quick."""
