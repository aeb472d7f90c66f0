// Package dlms reads the application layer of DLMS/COSEM as far as meters push
// it: ciphered APDUs, general block transfer, notifications, and the A-XDR data in
// them. IEC 62056-5-3 and -6-2, in the words of the Green Book ed. 9 and the Blue
// Book ed. 13. It knows neither a line nor what a push list means: drivers/hdlc
// does, and drivers/p1 and drivers/mbus use the deciphering.
//
// # Ciphering
//
// A Cipher is made once for a meter's keys and opens its telegrams:
//
//	key, err := dlms.ParseKey(config.Key.Reveal())        // hex in any dress, or 16 characters
//	cipher, err := dlms.NewCipher(dlms.Keys{Encryption: key, Authentication: ak}, looksLikeMyTelegram)
//	n, err := dlms.CipheredSize(buf)                      // where the APDU that begins here ends
//	text, info, err := cipher.Open(text[:0], buf[:n])     // appends; 0 allocations
//	err = counter.Check(info)                             // after the clear text was parsed: old news?
//
// info tells system title, security control and invocation counter, and in
// Checked whether a tag vouched for the text. Without a tag (SC 20, or the tag
// skipped because of Keys.Unchecked) any key gives some text: looksLikeMyTelegram
// refuses what does not even begin right, and the caller refuses what does not
// parse to its last byte. With an authentication key at hand a tag is always
// checked; auth_key = "none" is Keys.Unchecked and nothing else is.
//
// Each fault of the keys is an error of its own with a remedy (drivers.Hint): no
// key, no authentication key, wrong length for the suite, wrong encryption key,
// wrong authentication key, the two swapped, a damaged telegram under keys that
// fitted before, a counter that does not rise. Which of the keys is wrong shows
// when the ciphertext is run through counter mode without the tag: a clear text
// that begins right proves the encryption key.
//
//	DB 08 title[8] LEN SC IC[4] ciphertext[n] tag[12]     LEN counts from SC on
//	DC                                                    the same, dedicated key
//	DD id title title time info keyinfo LEN SC IC[4] …    general-ciphering
//
// Nonce: title ‖ IC. Additional data: SC ‖ AK, for DD also the header's first five
// fields with their lengths; for what is only authenticated, the clear text too.
// Seen outside the books: LEN as 82 00 E7 for 231 (L+G); SC 21, suite 1 without a
// tag (Kaifa of Vorarlberg); SC 20 in Austria and, with a tag, 30 elsewhere; an
// empty title (Poland: the nonce is then taken to begin with eight zeros, which is
// not verified).
package dlms
