"""Coming to the page from elsewhere."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.page.acts import pick
from tests.integration.page.conftest import Site

pytestmark = pytest.mark.browser


def test_a_link_of_another_site_leads_here(site: Site, chromium: Browser) -> None:
    page = chromium.new_context().new_page()
    link = f"<a href='{site.url}'>ask there</a>"
    page.route("http://elsewhere.example/**", lambda route: route.fulfill(content_type="text/html", body=link))
    page.goto("http://elsewhere.example/")
    page.click("a")
    expect(page.locator("#hello")).to_be_visible()
    page.reload()  # which a browser says comes from elsewhere too
    pick(page)
    page.context.close()
