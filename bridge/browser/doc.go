// Package browser holds the tests that look at the status page as people do: with a
// real Chromium, at a real gateway that reads simulated meters. They also make the
// pictures of the documents. Other tests that look at a page borrow its Chromium.
package browser
