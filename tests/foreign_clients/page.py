"""The demo's page in headless Chromium: the whole workflow and every error, by clicks.

page.py <url>
"""

import re
import sys

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

url = sys.argv[1]
options = webdriver.ChromeOptions()
for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]:
    options.add_argument(argument)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def text(element):
    return browser.find_element(By.ID, element).text


def click(button):
    """Clicks, and returns the answer that comes."""
    browser.execute_script("document.getElementById('answer').textContent = ''")
    browser.find_element(By.ID, button).click()
    return WebDriverWait(browser, 30).until(lambda _: text("answer"))


def answers(button, status, *parts):
    answer = click(button)
    assert answer.startswith(str(status)), (button, answer)
    for part in parts:
        assert part in answer, (button, part, answer)
    return answer


try:
    browser.get(url)
    assert browser.title == "password-grant: the demo"
    for client in ["web", "web-post", "mobile"]:
        Select(browser.find_element(By.ID, "client")).select_by_value(client)
        scope = browser.find_element(By.ID, "scope")
        scope.clear()
        wanted = "profile offline_access" if client == "mobile" else "profile orders:read offline_access"
        scope.send_keys(wanted)
        first = answers("login", 200, '"token_type": "Bearer"', '"refresh_token"', "no-store")
        assert "POST /oauth/token" in text("request"), text("request")
        decoded = text("token")
        for claim in ['"typ": "at+jwt"', '"alg": "ES256"', '"sub": "user-1"', f'"scope": "{wanted}"']:
            assert claim in decoded, decoded
        answers("me", 200, '"sub": "user-1"')
        if client == "mobile":
            answers("orders", 403, "insufficient_scope")
        else:
            answers("orders", 200, "teapot")
        answers("introspect", 200, '"active": true')
        second = answers("refresh", 200, '"refresh_token"')
        again = answers("reuse", 200)
        tokens = [re.search(r'"refresh_token": "([^"]*)"', answer)[1] for answer in [first, second, again]]
        assert tokens[0] != tokens[1] == tokens[2], "the retry yields the same successor"
        answers("revoke", 200)
        answers("refresh", 400, "invalid_grant")
        answers("introspect", 200, '"active": false')
        answers("me", 401, "invalid_token")

    Select(browser.find_element(By.ID, "client")).select_by_value("odd:client")
    scope.clear()
    scope.send_keys("profile")
    Select(browser.find_element(By.ID, "user")).select_by_value("zoë")
    answers("login", 200)
    assert '"sub": "user-2"' in text("token")
    Select(browser.find_element(By.ID, "user")).select_by_value("bob")
    disabled = answers("login", 400, "invalid_grant")

    Select(browser.find_element(By.ID, "client")).select_by_value("web")
    Select(browser.find_element(By.ID, "user")).select_by_value("alice")
    assert answers("wrong-password", 400, "invalid_grant") == disabled, "the same bytes"
    answers("wrong-secret", 401, "invalid_client", "www-authenticate: Basic")
    answers("repeated", 400, "invalid_request")
    answers("bad-scope", 400, "invalid_scope")
    answers("unknown-grant", 400, "unsupported_grant_type")
    answers("wrong-method", 405, "allow: POST")
    answers("in-query", 400, "invalid_request")
    answers("too-large", 413, "invalid_request")
    answers("no-token", 401, "www-authenticate: Bearer")
    answers("bad-token", 400, "invalid_request")

    # Refusals of the server are logged as failed loads, and nothing else may be.
    log = [entry for entry in browser.get_log("browser") if "Failed to load resource" not in entry["message"]]
    assert log == [], log
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(url) for name in loaded), loaded
finally:
    browser.quit()
print("the page: ok")
