"""The routes by what they are about. Each module has ``add(app, desk)``; what they share is the :class:`serve.http.desk.Desk`."""
